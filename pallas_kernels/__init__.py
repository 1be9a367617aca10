"""Kernels that know nothing of the algorithms above them; each folder is one public operation.

subset_dp: the best online policy for matching, by dynamic programming over sets of free nodes.
match_scan: online matching by the closed-form rounding, many replicates at once.
dual_scan: the backward and the forward sweep of many stopping problems that share prices.
prequential_ridge: online ridge regression of many programs, exact, in blocks.
page_difference: a batch of gradients of a linear model, at one point less at another.
nested_leaf: sums over the innermost children of many nodes, whose random numbers are made on the spot.
topk_route: the k largest of each row of biased scores, and how often each column was taken.
segment_softmax_pool: softmax-weighted sums of the elements of many segments, with log-sum-exps, and their gradient.
window_stats: pooling over windows by statistics that add up, and its gradient, each in one pass over memory.
monoid_tree: balanced trees of a symmetric pair of GRU steps, all levels on the chip, and their gradients.
vr_forb_game: the inner loop of variance-reduced forward-reflected-backward on a matrix game.
"""
