"""What the build knows of each model of the CC0 catalogue that its files do not say: category and anchors.

A line an object: id | category ("" where it is none of ours) | how people use it (`object_anchors.KINDS`) | degrees to
turn about +y until its front is +z (0 where missing).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENTRIES", "EXCLUDED", "Entry"]

#: Left out, with the reason.
EXCLUDED = {
    "winchesterArmchair": "its own licence file says CC BY 3.0",
    "winchesterSofa": "its own licence file says CC BY 3.0",
}

_TABLE = """
JapaneseLantern | lamp | side
L_shaped_sofa | couch | sofa
ammoBox | box | crate
antiqueChair | chair | chair
armchair | chair | chair
armchair2 | chair | chair
augalas | potted plant | side
babyRockingBed | bed |
barrel | | side
basketball | sports ball | ball
bed1 | bed | bed
bed2 | bed | bed
bed3 | bed | bed
bedWithTexture | bed | bed
bedsideTable2 | table | table
beerGlass | cup | vessel
bench | bench | bench
bidet | |
bookcase | shelf | front
bootie | shoe | held
box | box | side
bread | |
briefcase | suitcase | case
butter | |
caballito | |
cactus | potted plant | vessel
caffe_final | cup |
cardGame | |
cartoon_biplane | | held
ceilingFan | |
chair | chair | chair
chair2 | chair | chair
chairWithCushion | chair | chair
chicken | |
childHut | |
childSwing | swing |
cissors_swap | scissors | held
coffeeBrewer | | front
comb | | held
cosmeticsPot | | vessel
couch | couch | sofa
couch2 | couch | sofa
crate | box | crate
cuckooClock | clock |
cupboard | cabinet | front
cupcake | cake | vessel
deckChair | deck chair | lounger
decorativePlant | potted plant | side
deer | |
designChair | chair | chair
desk | desk | table
desklamp | lamp | held
doubleOven | oven | front
drawersCabinet | cabinet | front
dustbin | trash can | side
electricGuitar | guitar | side
emergencySign | |
fence | railing | front
fireExtinguisher | | vessel
flacon | bottle | vessel
flowerBox | potted plant | side
foldingChair | stool | bench
forkLift | |
glassDoorCabinet | cabinet | front
handbag | handbag | case
headphones | headphones | side
highCabinet | cabinet | front
horse2 | |
hotDog | hot dog | held
housePuzzle | |
iphone | cell phone | phone
islandExtension | cabinet | front
kalender | |
kitchenaid | | front
knifeStandSwap | |
lamp2 | lamp |
lantern | |
largeFridge | refrigerator | front
lbDesk | desk | table
led_tv | tv | side
littlePlant | potted plant | side
lockedLocker | | front
lowerCabinet | cabinet | front
lowerCornerCabinet | cabinet | front
mamadeira | bottle | vessel
mano_cooktop | |
modernArmchair | chair | chair
modernVanity | sink | front
mofx_mailbox | | front
motorbike | |
numberLock | |
oakChair | chair | chair
oakTable | dining table | table
orchids | potted plant | side
osakaChair | chair | chair
outdoorLamp | lamp |
oven | oven | front
pallet | | crate
pedestrianRailing1 | railing | front
pedestrianRailing2 | railing | front
peterbilt | truck |
pianoAQueue | |
pianoBench | stool | bench
plant | potted plant | side
plantie | potted plant | side
plasticChair | chair | chair
plasticCup | cup | vessel
poolTable | | table
potty | |
radiator | |
radiator1 | |
radiator2 | |
radiator3 | |
rangeHood | |
refrigerator | refrigerator | front
relaxChair | deck chair | lounger
riggedFan | |
rock1 | | crate
rock2 | | crate
rock3 | | crate
ruler | | held
seesaw | |
shelves | shelf | front
shippingContainer | | front
shower | |
showerDoor | | front
showerStall | | front
silla2 | stool | chair
sillaBlanca | chair | chair
sinkCabinet | sink | front
slippers | shoe | held
smallUpperCabinet | cabinet | front
sofa | couch | sofa
sofa2 | couch | sofa
speaker2 | | side
speaker3 | | side
spiralStaircase | stairs |
stoneLantern | |
stool | stool | chair
stool2 | stool | chair
stove | |
table | dining table | table
tableFan | |
tableWithTablecloth | dining table | table
table_football | | front
tatami | | crate
technicalTable1 | desk | table
technicalTable2 | desk | table
teddyBear | teddy bear | side
televisionCabinet | cabinet | front
tennisRacket | tennis racket | racket
tetrapak | | vessel
textMarker | | held
thonet | chair | chair
toiletBrush | |
toiletPaperDispenser | |
toiletsUnit | toilet | chair
towel2 | |
towel3 | |
umbrella | |
umbrellaFolded | umbrella | vessel
upperCabinet | cabinet | front
upperCornerCabinet | cabinet | front
upperShelves | shelf | front
urinal | |
verticalShelves | shelf | front
wallLight | lamp |
wardrobeWithSlidingDoors | wardrobe | front
washbasin | sink | front
wheelbarrow | wheelbarrow |
whiteBoard | | front
woodToy | | held
yogurtBottle | bottle | vessel
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table.

    Attributes:
        category: canonical name or "".
        kind: of anchors, "" for none.
        turn: degrees about +y.
    """

    category: str
    kind: str
    turn: float


def _read() -> dict[str, Entry]:
    rows = [[cell.strip() for cell in line.split("|")] for line in _TABLE.strip().splitlines()]
    return {row[0]: Entry(row[1], row[2], float(row[3]) if len(row) > 3 else 0.0) for row in rows}


#: By the catalogue's id.
ENTRIES = _read()
