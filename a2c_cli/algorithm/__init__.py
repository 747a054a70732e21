"""The algorithm: online advantage actor-critic on segments of one stream.

- learner:    READ FIRST: act, gather a segment, update
- update:     READ SECOND: the objective and one step on it
- returns, losses: the formulas
- segment:    T transitions and T+1 observations
- schedules, scales, optimizer: step sizes, running scales, the step itself
- prediction: the auxiliary task
"""
