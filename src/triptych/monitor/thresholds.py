"""Every threshold of the watch, in one place, and why it is what it is.

All are ratios: to what real pictures score in the samples' place, to the untrained generator, or to the
run's own past. None has a unit, and none knows a source, a resolution or a network.
"""

FEWEST_LOOKS = 5  # with fewer a run is too short to be judged
FEWEST_PICTURES = 24  # to train on: with fewer they cannot be split into samples' place, judges and a pool
FEWEST_TURNS = 100  # of the generator: with fewer it has learnt nothing yet, whatever its samples look like
RIPE_TURNS = (
    1000  # of the generator: with fewer, poor samples and few modes are a beginning; digits that end well
)
# leave their scraps behind within 300 to 800
FEWEST_SAMPLES = 24  # a look: with fewer, nothing is said of them (sets of under a hundred images)
WARM_UP = 0.25  # share of the planned steps in which early noise is not called a disease
PERSISTS = 0.12  # share of the planned looks that a sign must last, and ...
PERSISTS_LOOKS = 3  # ... looks at least: one bad look is chance
NOW = 0.2  # share of the looks that "now" is made of

# --- pictures ------------------------------------------------------------------------------
FEW_MODES = 0.4  # effective modes, of the data's: healthy runs keep 0.7 and more
LOST_KINDS = 0.6  # effective classes and modes, of the data's, in good pictures: some may never be painted
CROWDED = 0.5  # distance to the nearest sample in units of the spread, of the data's; healthy: 0.8 to 1.6
STUCK = 0.4  # the same where a run is young: beginnings have 0.66 and more, latents of 1 or 2 0.01 to 0.25
SAME = 0.35  # mean distance of two samples, of the data's: less is nearly one picture
NARROW_WARM_UP = 0.6  # few modes, but varied ones, may yet widen: until then they are no alarm
VARIED = 0.6  # of that: more is no longer nearly one picture
DUPLICATES = 0.15  # share of samples that another repeats to a tenth of the data's nearest distance, beyond
# the share of real pictures that another repeats so
APART = 0.5  # energy distance, in spreads of the data: an untrained generator is at least so far from it
BEGUN = 0.7  # of that way: a generator that was never nearer has not begun, so it cannot have collapsed
BEGUN_STEPS = 2000  # after so many steps even that is no excuse: usual rates leave the start in a few hundred
STRAYED = 0.2  # spreads of the data from where the untrained samples lay: a slow start that still repeats
# itself has not moved so far, so repeating elsewhere is no start
WORSE = 1.1  # of that way: worse than at the start, so something was learnt, but not to paint
POOR = 0.4  # of the way from real pictures (0) back to the untrained generator's (1); healthy: under 0.25
UNCOVERED = 0.1  # share of real pictures with a sample among them, beside the data's own
IMPROVES = 0.85  # a distance to the data that fell below this share of its past is still falling, ...
WIDENS = 1.2  # ... and modes or a spread that grew by this factor are still growing
STEADILY = 0.5  # an energy distance falls, however slowly, if so steadily (Kendall's tau with time), ...
TRIFLE = 0.05  # ... by more than this share, ...
STEADY_LOOKS = 6  # ... over so many looks: fewer are too often in order by chance

LOSES = 1.5  # modes or a spread that were so many times what they are now: variety was there, and went
# --- likeness: 0 as spoilt images, 1 as real ones (`likeness`) ---------------------------------
BROKEN = 0.2  # of the way from images of two halves to real ones, on a log scale: shapes are scraps
TELLING = 0.5  # density around images of two halves, of the real one: above, shapes cannot be told, ...
FAR_BELOW = 0.5  # ... except where samples are farther from real images than half of that
GRAINY, BLURRED, JAGGED = 1.0, 1.0, -2.0  # of the effect of visible noise or blur on fine detail

# --- the game ------------------------------------------------------------------------------
FOOLED = 0.1  # by which a mean probability on fakes exceeds that on real pictures: worse than chance
BLIND = 0.02  # between the mean probabilities of real pictures and fakes: a critic that sees no difference
SURE = 0.03  # a mean verdict this near to 0 or 1: the critic no longer doubts
DEAD = 0.01  # of the generator's early gradient: two orders of magnitude
STILL = 1e-3  # of the generator's movement: a critic whose weights move less stands still
IDLE = 0.02  # of their own size at the start: weights that are no farther from there have learnt nothing
RUNAWAY = 0.25  # growth of the weights beside their start, over the root of the steps: healthy runs of
# Adam at the usual rates stay under 0.05, a rate 100 times too high is at 0.3 to 5 from the first look on
LAST_WORDS = 5  # lines of the log before a value is no number: they tell whether it was on its way there
BLOWN = 100.0  # times its own early size: a gradient or loss that ran away

# --- labels: association of label and picture is Cramer's V squared, 0 where chance decides ---
SHARP = 0.6  # in the data: a reader that finds its labels so well is believed when it misses classes
SILENT = 0.06  # of that in the data, over the last looks: below, the condition has no effect
MUMBLED = (
    0.15  # the same for a sharp reader: a label that says nothing still is a number that shifts pictures
)
SPEAKS = 0.006  # in the data itself: below, no reader finds the labels in the real pictures
READABLE_POOR, READABLE_COVERED = 0.5, 0.25  # pictures at least so good show a label if they have one, ...
READABLE_KINDS = 0.6  # ... if the reader also finds so many of the data's classes in them: it takes what is
# still without shape for one or two
LABEL_TURNS = 150  # moves of both players before which no label need show
LABELS_WARM_UP = 0.5  # labels are learnt after shapes

# --- swings --------------------------------------------------------------------------------
HOPS = 0.6  # share of the samples that changes its mode from one look to the next
LEAPS = 0.8  # so large a share is a swing by itself, between halves with equally many modes
SWINGS = 0.25  # change of the number of modes from look to look, as a share of it; healthy: under 0.15
