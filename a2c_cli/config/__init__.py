"""Settings: what they mean, what they are by default, and how they are written down.

- settings: every setting once, with its meaning, unit and range
- kinds:    the kinds of environment, with their defaults; networks: networks as text
- defaults: neutral values, continuous actions, and the presets
- resolve:  from what was asked for to a run's settings
- given:    environments that Python gives as objects
- checks:   whether a value is allowed
- legacy:   settings as earlier versions wrote them
- text:     settings as TOML, dictionaries and key=value
"""
