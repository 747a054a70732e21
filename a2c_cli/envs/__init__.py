"""Environments as streams of observations, rewards and ends.

- spec:   what an agent must know of an environment, as plain data
- stream: the Stream protocol, transitions, and play(), the one loop that all commands share
- atari:  Atari games on the emulator itself; frames: their pictures
- gym:    every other Gymnasium environment
- make:   the only place where an environment is assembled
"""
