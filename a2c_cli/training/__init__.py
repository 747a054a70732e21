"""A training run: started or resumed, played, logged, saved.

- engine:   train(): checks a request, starts a run or resumes one
- resume:   what may be resumed, with which changes; initial: a start from another run's weights
- loop:     plays and learns; says when to log, save and report
- state:    what a run consists of; counters: what it counts
- log:      the entries of metrics.jsonl; guards: warnings about runs that go wrong
- saving:   the checkpoints; best: which one is the best
- progress: what a run reports of itself
- summary:  what was made of the environment, in one line
- machine:  device, precision, memory
"""
