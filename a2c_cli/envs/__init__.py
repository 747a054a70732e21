"""Environments as streams of observations, rewards and ends.

- spec:   what an agent must know of an environment, as plain data
- stream: the Stream protocol, transitions, and play(), the one loop that all commands share
- atari:  Atari games on the emulator itself; frames: their pictures
- gym:    every other Gymnasium environment; guest: what it may not do to this process
- spaces: what an observation is made of; encoder: from one to what the agent sees
- history: an episode so far, and its replay; pixels: pictures as the agent sees them
- make:   the only place where an environment is assembled
"""
