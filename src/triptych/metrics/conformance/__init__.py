"""Conformance kit: known answers for this installation, and agreement with other libraries.

Run it before a number is published (`triptych conformance`), or on a metric of your own:

    from triptych.metrics.conformance.grading import grade
    print(grade(my_fid, "fid").mistakes)   # () if it is right
"""
