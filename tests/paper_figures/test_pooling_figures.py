"""Every figure and table of the family is drawn from its quick runs, and no claim differs."""


def test_it_is_drawn_and_no_claim_differs(figure, draw_quick):
    draw_quick(figure)
