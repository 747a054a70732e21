"""Networks and the policies they give: acting, and what is differentiated.

- layout:        a network as plain data
- network:       the same as a torch module
- distributions: categorical and Gaussian policies: sampling, log π, entropy, KL
- acting, convolution: the same network in NumPy, one observation at a time
- gradient:      the torso's gradient from the activations that acting remembers
- pixel_gradient: how a pixel moves policy and value, in NumPy
- trainable:     the door: one set of parameters to act with and to differentiate
- normalizer:    running normalisation of vector observations
- agent:         acts, never learns; observer: what an environment shows it
"""
