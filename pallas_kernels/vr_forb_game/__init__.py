"""The inner loop of variance-reduced forward-reflected-backward on a matrix game."""

from pallas_kernels.vr_forb_game.api import vr_forb_game
from pallas_kernels.vr_forb_game.contract import Draws, Game, Iterate, Rates

__all__ = ["Draws", "Game", "Iterate", "Rates", "vr_forb_game"]
