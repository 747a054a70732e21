"""Whole games on raw scores, and what can be said from them.

- evaluate:   evaluate(), the protocol
- episodes:   whole games of an agent, one after the other
- workers:    processes that never outlive the one they work for
- statistics: means, IQM, bootstrap intervals
- scores:     random and human reference scores
"""
