"""The categories of objects that people touch: DAMON's and the usual furniture besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from interactvlm.errors import InputError

__all__ = ["CATEGORIES", "UNSEEN_CATEGORIES", "Category", "category"]


@dataclass(frozen=True, slots=True)
class Category:
    """One category.

    Attributes:
        name: canonical ("tennis racket").
        damon: DAMON's name ("tennis_racket"); "" where DAMON has none.
        supercategory: one of the seven of `interactvlm.evaluation.damon`, or "other".
        synonyms: everyday names other than `name`, lower case.
        size_mean: largest extent of the bounding box, metres (paper section 5 asks for metric objects; PHOSA's priors
            where they agree with a ruler).
        size_spread: standard deviation of that.
    """

    name: str
    damon: str
    supercategory: str
    synonyms: tuple[str, ...]
    size_mean: float
    size_spread: float


#: Supercategory, then a line a category: name | mean | spread | synonyms. DAMON's names are these with "_" for " ".
_DAMON = """
accessory
  backpack | .48 | .06 | rucksack, bag, school bag, knapsack, daypack, pack
  handbag | .38 | .08 | purse, bag, shoulder bag, tote bag, tote, lady's bag
  hat | .28 | .06 | cap, baseball cap, beanie, sun hat, headwear, head covering
  eye glasses | .145 | .012 | glasses, sunglasses, spectacles, eyeglasses, specs, shades
  shoe | .31 | .03 | shoes, sneakers, trainers, pair of shoes, footwear, boots
  suitcase | .85 | .16 | luggage, trolley case, travel bag, case, carry-on, roller bag
  tie | .50 | .05 | necktie, cravat, neck tie, formal tie, silk tie
  umbrella | 1.0 | .13 | brolly, parasol, rain umbrella, sunshade, open umbrella
everyday-objects
  book | .29 | .06 | novel, paperback, notebook, textbook, hardcover, magazine
  bottle | .25 | .04 | water bottle, drink bottle, flask, wine bottle, soda bottle, drink
  cell phone | .15 | .012 | phone, mobile phone, smartphone, mobile, cellphone, iphone
  clock | .26 | .08 | wall clock, timepiece, alarm clock, table clock, dial
  hair drier | .24 | .04 | hair dryer, blow dryer, hairdryer, blow-dryer, dryer
  keyboard | .42 | .05 | computer keyboard, pc keyboard, keys, typing keyboard, wireless keyboard
  laptop | .36 | .05 | notebook computer, computer, laptop computer, macbook, portable computer, notebook pc
  mouse | .11 | .012 | computer mouse, pc mouse, wireless mouse, optical mouse, cursor mouse
  potted plant | .60 | .35 | plant, houseplant, pot plant, flower pot, flowers, indoor plant
  remote | .18 | .025 | remote control, tv remote, game controller, controller, clicker, zapper
  scissors | .17 | .03 | pair of scissors, shears, paper scissors, office scissors, cutters
  teddy bear | .38 | .12 | teddy, stuffed animal, plush toy, soft toy, stuffed bear, plushie
  toothbrush | .185 | .015 | tooth brush, electric toothbrush, dental brush, brush, manual toothbrush
  tv | 1.0 | .25 | television, tv set, flat screen, television set, monitor, screen
  vase | .28 | .06 | flower vase, urn, ceramic vase, jar, glass vase
  fire hydrant | .75 | .08 | hydrant, fireplug, street hydrant, water hydrant, fire plug
  parking meter | 1.35 | .12 | meter, parking machine, coin meter, pay meter, parking post
  stop sign | 2.3 | .25 | traffic sign, road sign, sign, street sign, sign post
  traffic light | 2.8 | .4 | traffic signal, stoplight, signal light, street light, lights
food
  apple | .08 | .008 | red apple, green apple, fruit, piece of fruit, fresh apple
  banana | .19 | .02 | yellow banana, fruit, piece of fruit, ripe banana, peeled banana
  broccoli | .17 | .03 | broccoli head, vegetable, broccoli floret, green vegetable, head of broccoli
  cake | .22 | .08 | birthday cake, slice of cake, cupcake, muffin, dessert, torte
  carrot | .18 | .03 | orange carrot, vegetable, raw carrot, root vegetable, carrot stick
  donut | .10 | .01 | doughnut, pastry, glazed donut, ring doughnut, sweet pastry
  hot dog | .17 | .02 | hotdog, sausage in a bun, frankfurter, wiener, sausage roll
  orange | .08 | .008 | orange fruit, fruit, citrus, mandarin, citrus fruit
  pizza | .28 | .05 | slice of pizza, pizza slice, pizza pie, whole pizza, margherita
  sandwich | .15 | .03 | burger, sub, toast, hamburger, baguette, bread
furniture
  bed | 2.15 | .12 | bedstead, mattress, double bed, single bed, bunk, cot
  bench | 1.75 | .25 | park bench, wooden bench, long seat, garden bench, pew, garden seat
  chair | .95 | .12 | seat, dining chair, armchair, office chair, wooden chair, desk chair
  couch | 1.75 | .45 | sofa, settee, loveseat, lounge, divan, sectional
  desk | 1.40 | .20 | writing desk, work desk, office desk, work table, workstation, writing table
  dining table | 1.45 | .25 | kitchen table, dinner table, dining room table, wooden table, meal table
  door | 2.1 | .12 | doorway, front door, wooden door, entrance, room door
  mirror | 1.3 | .4 | looking glass, wall mirror, standing mirror, full-length mirror, dressing mirror
  toilet | .78 | .08 | lavatory, toilet seat, loo, commode, toilet bowl, water closet
  window | 1.5 | .25 | glass window, window pane, casement, window frame, pane
kitchen
  blender | .40 | .05 | mixer, food processor, smoothie maker, liquidiser, kitchen mixer
  bowl | .19 | .05 | dish, soup bowl, cereal bowl, salad bowl, basin
  cup | .115 | .025 | mug, coffee cup, glass, tea cup, coffee mug, paper cup
  fork | .19 | .015 | dinner fork, silver fork, table fork, eating fork, salad fork
  knife | .26 | .04 | kitchen knife, table knife, blade, cutting knife, chef's knife
  microwave | .50 | .05 | microwave oven, micro oven, kitchen microwave, countertop oven, micro
  oven | .90 | .15 | stove, cooker, range, kitchen oven, baking oven
  plate | .24 | .04 | dish, dinner plate, serving plate, side plate, platter
  refrigerator | 1.75 | .15 | fridge, freezer, icebox, cooler, kitchen fridge
  sink | .85 | .15 | washbasin, basin, wash basin, kitchen sink, bathroom sink
  spoon | .175 | .025 | tablespoon, teaspoon, soup spoon, dessert spoon, wooden spoon
  toaster | .28 | .03 | bread toaster, toast maker, kitchen toaster, pop-up toaster, two-slice toaster
  wine glass | .21 | .025 | wineglass, glass of wine, stem glass, goblet, champagne glass, glass
sports
  baseball bat | .80 | .04 | bat, wooden bat, softball bat, club, slugger, metal bat
  baseball glove | .31 | .03 | baseball mitt, mitt, glove, catcher's mitt, fielder's glove
  frisbee | .25 | .02 | flying disc, disc, plastic disc, disk, flying disk
  kite | 1.0 | .15 | diamond kite, flying kite, toy kite, stunt kite, paper kite
  skateboard | .78 | .05 | board, longboard, skate board, deck, skate deck
  skis | 1.65 | .10 | ski, pair of skis, snow skis, alpine skis, downhill skis
  snowboard | 1.53 | .07 | board, snow board, freestyle board, freeride board, snowboarding board
  sports ball | .22 | .06 | ball, soccer ball, football, basketball, volleyball, tennis ball
  surfboard | 2.1 | .35 | surf board, board, longboard, shortboard, wave board
  tennis racket | .67 | .025 | racket, racquet, tennis racquet, badminton racket, tennis bat
transport
  airplane | 6.0 | 2.0 | plane, aeroplane, aircraft, jet, biplane
  bicycle | 1.75 | .08 | bike, cycle, push bike, mountain bike, road bike, pushbike
  boat | 3.5 | 1.0 | rowing boat, rowboat, dinghy, small boat, canoe
  bus | 10.0 | 2.0 | coach, city bus, autobus, public bus, omnibus
  car | 4.3 | .4 | automobile, sedan, vehicle, auto, hatchback
  motorcycle | 2.04 | .12 | motorbike, bike, scooter, moped, motor cycle, chopper
  train | 15.0 | 4.0 | railway train, locomotive, rail car, tram, railway carriage
  truck | 8.0 | 4.0 | lorry, pickup, delivery truck, van, heavy goods vehicle
"""

#: Categories beyond DAMON's, in the same layout.
_EXTRA = """
furniture
  stool | .55 | .14 | bar stool, footstool, small stool, kitchen stool, tabouret
  table | .85 | .20 | coffee table, side table, bedside table, end table, small table, nightstand
  shelf | 1.6 | .45 | bookshelf, bookcase, shelves, shelving, rack
  cabinet | 1.0 | .35 | cupboard, chest of drawers, sideboard, dresser, kitchen cabinet, drawers
  wardrobe | 1.95 | .25 | closet, armoire, clothes closet, clothes cupboard, tall cabinet
  lamp | .60 | .30 | floor lamp, table lamp, desk lamp, lantern, light
  deck chair | 1.3 | .3 | sun lounger, lounger, lawn chair, folding chair, beach chair
accessory
  headphones | .22 | .02 | headset, earphones, earmuffs, ear phones, pair of headphones
everyday-objects
  box | .60 | .18 | cardboard box, carton, package, parcel, crate, packing box
  trash can | .42 | .1 | dustbin, bin, garbage can, waste basket, rubbish bin, wastebasket
  guitar | 1.0 | .06 | electric guitar, acoustic guitar, bass guitar, bass, string instrument
  ladder | 2.0 | .3 | step ladder, stepladder, folding ladder, steps, aluminium ladder
sports
  ski poles | 1.2 | .06 | ski pole, ski sticks, pair of ski poles, poles, walking poles
transport
  shopping cart | 1.0 | .08 | shopping trolley, trolley, cart, supermarket trolley, supermarket cart
  stroller | 1.0 | .1 | pram, buggy, pushchair, baby carriage, baby stroller
  wheelbarrow | 1.55 | .12 | barrow, garden cart, hand cart, pushcart, garden barrow
other
  swing | 2.2 | .3 | playground swing, swing seat, swing set, garden swing, child's swing
  railing | 1.9 | .3 | handrail, fence, banister, guard rail, balustrade, barrier
  stairs | 2.5 | .8 | staircase, steps, stairway, flight of stairs, stairwell
"""

#: Never in training: what a model does with them is measured in a row of its own.
UNSEEN_CATEGORIES = (
    "snowboard", "wine glass", "motorcycle", "bench", "teddy bear", "hair drier", "spoon", "suitcase",
)  # fmt: skip


def _read(table: str, *, damon: bool) -> dict[str, Category]:
    categories: dict[str, Category] = {}
    supercategory = ""
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            supercategory = line
            continue
        name, mean, spread, synonyms = (part.strip() for part in line.split("|"))
        categories[name] = Category(
            name=name,
            damon=name.replace(" ", "_") if damon else "",
            supercategory=supercategory,
            synonyms=tuple(synonym.strip() for synonym in synonyms.split(",")),
            size_mean=float(mean),
            size_spread=float(spread),
        )
    return categories


#: By canonical name, DAMON's first.
CATEGORIES: Mapping[str, Category] = MappingProxyType(_read(_DAMON, damon=True) | _read(_EXTRA, damon=False))

# A word that several categories share ("board", "bag") names the first of them: canonical names come before synonyms.
_BY_NAME: dict[str, Category] = {}
for _entry in CATEGORIES.values():
    _BY_NAME.setdefault(_entry.name, _entry)
for _entry in CATEGORIES.values():
    for _synonym in _entry.synonyms:
        _BY_NAME.setdefault(_synonym, _entry)


def category(name: str) -> Category:
    """The category of that canonical name, DAMON name or synonym, whatever its case.

    Raises:
        InputError: no category is called that.
    """
    found = _BY_NAME.get(" ".join(name.lower().replace("_", " ").split()))
    if found is None:
        raise InputError("category", f"is {name!r}, which names no known object ({len(CATEGORIES)} are known)")
    return found
