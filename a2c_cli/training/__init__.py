"""A training run: started or resumed, played, logged, saved.

- engine:   train(): checks a request, starts a run or resumes one
- loop:     one run in memory: plays, learns, logs, saves
- counters: what a run counts; progress: what it tells of itself
- saving:   its checkpoints; best: which one is the best
- guards:   warnings about runs that go wrong
- machine:  device, precision, memory
"""
