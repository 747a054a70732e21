"""The algorithm: online advantage actor-critic on segments of one stream.

- learner:    READ FIRST: act, gather a segment, update
- update:     READ SECOND: the objective and one step on it
- natural_update: the other rule: a natural-gradient step, a fit of the critic; natural: its maths
- returns, losses: the formulas
- segment:    T transitions and T+1 observations
- schedules, scales, optimizer: step sizes, running scales, the step itself
- entropy:    the bonus, and the floor under the entropy
- calibration: the first steps, from which the network's start is made
- prediction: the auxiliary task
"""
