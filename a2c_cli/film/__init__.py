"""Films of an agent at play.

- record:   record(): whole games to video files; request: which, how, and where
- filmer:   films of training itself
- writer:   H.264 and gif files
- camera:   frames on their way from an environment to a file
- panel, policy_bars, canvas: what is drawn beside the game
- saliency: where the network looks
"""
