"""Whole games on raw scores, and what can be said from them.

- evaluate:   evaluate(), the protocol
- episodes:   whole games of an agent; workers: the same in several processes
- statistics: means, IQM, bootstrap intervals
- scores:     random and human reference scores
"""
