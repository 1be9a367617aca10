"""Groupwise regret: one expert per group and a sleeping-experts aggregator give low regret on every group at once.

Source: `acharya:24`. Import the module you need, for example `from research.regret import groupwise`.
"""
