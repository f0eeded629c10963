"""What a game that was given up leaves: one page that says what happened and what may help."""

from triptych.postmortem.write import newest_post_mortem, write_post_mortem

__all__ = ["newest_post_mortem", "write_post_mortem"]
