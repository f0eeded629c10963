"""Every threshold of the GAN monitor, in one place, and why it has its value.

All are ratios: to the value on real images, to the untrained generator, or to the run's own past. None has a
unit, and none depends on a data set, a resolution or a network. An *update* is one optimizer step.
"""

MIN_OBSERVATIONS = 5  # with fewer a run is too short to be assessed
MIN_TRAINING_IMAGES = 24  # with fewer they cannot be split into held-out, reference and probe images
MIN_UPDATES = 100  # of both networks: with fewer nothing has been learned yet, whatever the samples look like
MATURE_UPDATES = 1000  # with fewer, poor samples and few modes are a normal start: runs on digits that end
# well leave the stage of fragments within 300 to 800
MIN_SAMPLES = 24  # per observation: with fewer nothing is said of them (data sets of under a hundred images)
WARMUP_SHARE = 0.25  # share of the planned steps in which early noise is not reported as a problem
PERSISTENCE_SHARE = 0.12  # share of the planned observations that a symptom must last, and ...
MIN_PERSISTENCE = 3  # ... at least so many: one bad observation is chance
RECENT_SHARE = 0.2  # share of the observations that "recent" stands for

# --- images --------------------------------------------------------------------------------
LOW_MODES = 0.4  # effective modes, relative to the data: healthy runs keep 0.7 and more
LOW_CLASS_DIVERSITY = 0.6  # effective classes and modes, relative to the data, in good images: some classes
# may never be generated
LOW_NEAREST_SAMPLE = 0.5  # nearest-sample distance over mean pairwise distance, relative to the data;
# healthy: 0.8 to 1.6
VERY_LOW_NEAREST_SAMPLE = 0.4  # the same in a young run: at the start it is 0.66 and more, with a latent of 1
# or 2 dimensions 0.01 to 0.25
LOW_PAIRWISE = 0.35  # mean pairwise distance, relative to the data: below, all samples are nearly one image
LOW_MODES_WARMUP = 0.6  # share of the steps before which few but diverse modes are not reported
DIVERSE_PAIRWISE = 0.6  # mean pairwise distance above which samples are diverse although modes are few
MAX_DUPLICATES = 0.15  # share of samples with a near-duplicate (closer than a tenth of the data's median
# nearest-neighbor distance), beyond the share of real images that have one
MIN_UNTRAINED_ENERGY = 0.5  # an untrained generator's energy distance counts as at least so much
LEFT_START = 0.7  # relative distance (0: real, 1: untrained): a generator that was never nearer has not left
# its start, so it cannot have collapsed
LEFT_START_STEPS = 2000  # after so many steps it counts as past its start: usual learning rates need a few
# hundred
SAMPLES_MOVED = 0.2  # distance of the samples from the untrained ones, in the data's scale: a slow start has
# not moved so far, so near-duplicates elsewhere are no start
WORSE_THAN_UNTRAINED = 1.1  # relative distance: something was learned, but not to generate images
FAR_FROM_DATA = 0.4  # relative distance above which samples are unlike the data; healthy: under 0.25
LOW_COVERAGE = 0.1  # share of real images with a sample in their neighborhood, relative to the data
IMPROVED_DISTANCE = 0.85  # a distance below this share of its past value is still falling, ...
GROWN_DIVERSITY = 1.2  # ... and modes or pairwise distances that grew by this factor are still growing
TREND_TAU = 0.5  # a slow fall of the energy distance is a trend if it is so steady (Kendall's tau), ...
TREND_MIN_CHANGE = 0.05  # ... by more than this share, ...
TREND_MIN_OBSERVATIONS = 6  # ... over so many observations: fewer are too often in order by chance
DIVERSITY_LOSS_FACTOR = 1.5  # modes or pairwise distances that were once so many times their present value

# --- image statistics: 0 as distorted real images, 1 as real ones (`image_statistics`) ---------
SHAPES_BROKEN = 0.2  # of the way from images of two halves to real ones, on a log scale: only fragments
SHAPES_UNINFORMATIVE = 0.5  # density around images of two halves, relative to real ones: above, the features
# cannot tell whether shapes are right, ...
SHAPES_FAR_BELOW_HALVES = 0.5  # ... unless samples reach less than half of that
MAX_GRAIN, MAX_BLUR, CHECKERBOARD_BLUR = 1.0, 1.0, -2.0  # relative to the effect of visible noise or blur

# --- generator against critic --------------------------------------------------------------
CRITIC_INVERTED_MARGIN = 0.1  # by which the mean probability on fakes exceeds that on real images
CRITIC_BLIND_GAP = 0.02  # between the mean probabilities of real images and fakes: no difference is seen
CRITIC_SATURATED = 0.03  # a mean probability this near to 0 or 1: the critic is confident of every image
CRITIC_UPDATES = 150  # before so many updates of both networks a saturated critic is a normal start: two of
# twenty healthy first runs of a plain DCGAN were like that at 84 to 112
VANISHED_GRADIENT = 0.01  # of the generator's early gradient norm: two orders of magnitude
STATIC_WEIGHTS = 1e-3  # of the generator's weight movement: below, the critic's weights stand still
UNMOVED_WEIGHTS = 0.02  # distance from the initial weights, relative to their size: nothing was learned
WEIGHT_GROWTH = 0.25  # relative growth of the weights over the root of the updates: healthy runs with Adam
# stay under 0.05, a learning rate 100 times too high has 0.3 to 5 from the first observation on
LINES_BEFORE_FAILURE = 5  # log lines before the first NaN or infinity that are searched for divergence
EXPLODED = 100.0  # times its own early size: a gradient or a loss that exploded

# --- labels: association of label and image is Cramer's V squared, 0 at chance ----------------
ACCURATE_PROBE = 0.6  # association on real images from which on the probe is trusted about missing classes
LABELS_ABSENT = 0.06  # association relative to real images: below, the label has no effect
LABELS_ABSENT_ACCURATE = 0.15  # the same with an accurate probe: a label without meaning still is an input
# that shifts images
LABELS_UNREADABLE = 0.006  # association on real images below which they do not show their labels
READABLE_DISTANCE, READABLE_COVERAGE = 0.5, 0.25  # images at least so good show a label if they have one, ...
READABLE_CLASS_DIVERSITY = 0.6  # ... if the probe also finds so many of the classes in them: it assigns
# images without clear shapes to one or two classes
LABEL_UPDATES = 150  # of both networks before which no label need show
LABELS_WARMUP = 0.5  # share of the steps: labels are learned after shapes

# --- oscillation ---------------------------------------------------------------------------
MODE_SHIFT = 0.6  # share of the samples that changes its mode from one observation to the next
LARGE_MODE_SHIFT = 0.8  # so large a share counts by itself, even between halves with equally many modes
MODE_SWING = 0.25  # relative change of the number of modes between observations; healthy: under 0.15
