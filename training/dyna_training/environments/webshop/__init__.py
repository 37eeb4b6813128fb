"""WebShop: shopping by searching and clicking, on the original's data, with its pages, search and reward."""

from dyna_training.environments.webshop.env import WebShopEnv
from dyna_training.environments.webshop.experts import Decision, OracleExpert
from dyna_training.environments.webshop.goals import Goal
from dyna_training.environments.webshop.products import Product, load_products
from dyna_training.environments.webshop.reward import Score
from dyna_training.environments.webshop.shop import Shop, open_shop
from dyna_training.environments.webshop.splits import SPLITS, games

__all__ = [
    "SPLITS",
    "Decision",
    "Goal",
    "OracleExpert",
    "Product",
    "Score",
    "Shop",
    "WebShopEnv",
    "games",
    "load_products",
    "open_shop",
]
