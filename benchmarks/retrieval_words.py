"""Everyday words for the categories that the catalogue does not list: what people would type, held out from the index.

Written once, by hand, before anything was measured with it; `interactvlm/objects/categories.py` has the words that the
catalogue does list. A word that later enters that list must leave this one (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["HELD_OUT_WORDS"]

_TABLE = """
backpack | hiking backpack, back pack, kids' school rucksack, laptop backpack, bookbag
handbag | leather handbag, hand bag, ladies' purse, clutch bag, pocketbook
hat | straw hat, cowboy hat, bucket hat, woolly hat, winter hat
eye glasses | reading glasses, eyewear, prescription glasses, pair of glasses, sun glasses
shoe | tennis shoes, leather shoe, high heels, boot, slippers
suitcase | travel suitcase, wheeled suitcase, cabin luggage, trolley suitcase, baggage
tie | striped tie, men's tie, business tie, red necktie, woven tie
umbrella | folding umbrella, beach umbrella, black umbrella, sun umbrella, golf umbrella
book | paperback book, open book, school book, story book, comic book
bottle | plastic bottle, glass bottle, bottle of water, juice bottle, milk bottle
cell phone | android phone, touchscreen phone, handphone, cellular phone, smart phone
clock | round clock, analog clock, bedside alarm clock, hanging clock, digital clock
hair drier | electric hair dryer, hand-held hair dryer, salon hair dryer, hair blower, travel hair dryer
keyboard | mechanical keyboard, bluetooth keyboard, gaming keyboard, qwerty keyboard, typewriter keyboard
laptop | notebook pc computer, ultrabook, chromebook, open laptop, gaming laptop
mouse | bluetooth mouse, gaming mouse, usb mouse, laptop mouse, mouse for a computer
potted plant | plant in a pot, house plant, potted flower, pot with a plant, office plant
remote | television remote, remote controller, tv controller, infrared remote, universal remote control
scissors | kitchen scissors, craft scissors, pair of shears, hair scissors, sewing scissors
teddy bear | toy bear, cuddly bear, stuffed teddy, brown teddy bear, plush bear
toothbrush | tooth-brush, child's toothbrush, bamboo toothbrush, teeth brush, oral toothbrush
tv | flat screen tv, telly, lcd television, smart tv, television screen
vase | tall vase, porcelain vase, vase for flowers, decorative vase, clay vase
fire hydrant | red fire hydrant, firemen's hydrant, water fire hydrant, pavement hydrant, sidewalk fire hydrant
parking meter | car parking meter, street parking meter, coin-operated parking meter, ticket meter, roadside meter
stop sign | octagonal stop sign, red stop sign, halt sign, stop road sign, street stop sign
traffic light | set of traffic lights, red light at a crossing, traffic lamp, crossing lights, stop light
apple | fresh red apple, granny smith, eating apple, apple fruit, ripe apple
banana | bunch of bananas, green banana, banana fruit, unpeeled banana, sweet banana
broccoli | steamed broccoli, broccoli stalk, piece of broccoli, green broccoli, broccoli vegetable
cake | chocolate cake, layer cake, wedding cake, cheesecake, sponge cake
carrot | fresh carrot, baby carrot, peeled carrot, orange root vegetable, carrot vegetable
donut | chocolate donut, frosted donut, dough nut, jam doughnut, sugar donut
hot dog | hot dog bun, hot dog sandwich, frankfurter in a bun, grilled hot dog, hotdog with mustard
orange | fresh orange, orange citrus, clementine, tangerine, ripe orange
pizza | pepperoni pizza, pizza with cheese, frozen pizza, italian pizza, neapolitan pizza
sandwich | cheese sandwich, club sandwich, ham sandwich, toasted sandwich, sandwich with lettuce
bed | queen size bed, king size bed, wooden bed, bed frame, children's bed
bench | outdoor bench, sitting bench, stone bench, bench in a park, picnic bench
chair | kitchen chair, folding wooden chair, swivel chair, easy chair, plastic chair
couch | leather couch, living room sofa, three-seater, corner sofa, chesterfield
desk | computer desk, study desk, school desk, standing desk, home office desk
dining table | dining-room table, large table for dinner, table for six, family dinner table, wooden dining table
door | interior door, closed door, exit door, house door, sliding door
mirror | bathroom mirror, hanging mirror, makeup mirror, hall mirror, tall mirror
toilet | wc, flush toilet, toilet pan, bathroom toilet, ceramic toilet
window | house window, double-glazed window, bedroom window, open window, sash window
blender | kitchen blender, electric blender, smoothie blender, stand blender, jug blender
bowl | mixing bowl, fruit bowl, ceramic bowl, pasta bowl, breakfast bowl
cup | tea mug, drinking cup, espresso cup, cup of coffee, plastic cup
fork | metal fork, eating utensil fork, dessert fork, cake fork, steel fork
knife | steak knife, bread knife, butter knife, sharp knife, carving knife
microwave | microwave cooker, kitchen microwave oven, microwaver, counter microwave, small microwave
oven | electric oven, gas oven, kitchen stove, baking oven for bread, built-in oven
plate | dinner dish, paper plate, porcelain plate, round plate, lunch plate
refrigerator | fridge freezer, kitchen refrigerator, refridgerator, double-door fridge, mini fridge
sink | stainless steel sink, hand basin, sink with tap, wash sink, bathroom basin
spoon | metal spoon, tea spoon, serving spoon, ladle, eating spoon
toaster | two-slot toaster, electric toaster, toaster for bread, chrome toaster, four-slice toaster
wine glass | glass for wine, red wine glass, stemmed glass, crystal wine glass, wine goblet
baseball bat | aluminium baseball bat, hitter's bat, wooden baseball bat, bat for baseball, little league bat
baseball glove | leather baseball glove, pitcher's glove, catching mitt, baseball catcher's glove, first baseman's mitt
frisbee | throwing disc, disc golf frisbee, ultimate frisbee, flying saucer toy, frisbee disc
kite | colourful kite, kite on a string, wind kite, box kite, delta kite
skateboard | street skateboard, skater's board, skateboard deck, kick board on wheels, cruiser skateboard
skis | cross-country skis, pair of skiing skis, ski equipment, snow-skis, racing skis
snowboard | snowboard deck, board for snow, alpine snowboard, snowboarder's board, powder snowboard
sports ball | rubber ball, beach ball, football ball, playing ball, baseball ball
surfboard | surfer's board, foam surfboard, surfing board, board for surfing, fibreglass surfboard
tennis racket | tennis raquet, racket for tennis, tennis player's racket, squash racket, graphite tennis racket
airplane | passenger plane, airliner, propeller plane, air plane, jumbo jet
bicycle | two-wheeler bike, racing bicycle, city bike, children's bicycle, ten-speed
boat | fishing boat, motorboat, sailing boat, wooden boat, lifeboat
bus | double-decker bus, tour bus, articulated bus, shuttle bus, passenger bus
car | sports car, motor car, family car, saloon car, station wagon
motorcycle | motor bike, racing motorcycle, harley, sport bike motorcycle, touring motorcycle
train | passenger train, freight train, subway train, steam train, high-speed train
truck | big rig, dump truck, semi truck, cargo truck, fire truck
stool | wooden stool, round stool, piano stool, three-legged stool, counter stool
table | small wooden table, sofa table, round table, folding table, picnic table
shelf | wall shelf, book shelf, storage shelf, display shelf, wooden shelving unit
cabinet | filing cabinet, storage cabinet, chest with drawers, bathroom cabinet, display cabinet
wardrobe | clothes wardrobe, bedroom closet, wooden wardrobe, wardrobe with doors, built-in closet
lamp | standing lamp, bedside lamp, reading lamp, light fixture, lampshade
deck chair | folding deck chair, canvas beach chair, sunbed, garden lounger, patio lounge chair
headphones | over-ear headphones, wireless headphones, gaming headset, ear buds, stereo headphones
box | moving box, storage box, shipping box, wooden box, box made of cardboard
trash can | garbage bin, rubbish bin with lid, wastepaper basket, trash bin, litter bin
guitar | classical guitar, folk guitar, six-string guitar, wooden guitar, rock guitar
ladder | extension ladder, wooden ladder, rope ladder, step-ladder, climbing ladder
ski poles | skier's poles, poles for skiing, ski-poles, downhill ski poles, hiking poles
shopping cart | grocery cart, shop trolley, supermarket shopping cart, cart for groceries, metal shopping cart
stroller | baby carriage stroller, child stroller, perambulator, push chair, jogging stroller
wheelbarrow | wheel barrow, gardener's wheelbarrow, one-wheeled barrow, construction wheelbarrow, garden wheelbarrow
swing | tree swing, children's swing, porch swing, swinging seat, rope swing
railing | metal railing, stair rail, safety railing, hand rail, wooden fence
stairs | wooden stairs, spiral staircase, stone steps, stair case, indoor stairs
"""

HELD_OUT_WORDS: Mapping[str, tuple[str, ...]] = {
    name.strip(): tuple(word.strip() for word in words.split(","))
    for name, words in (line.split("|") for line in _TABLE.strip().splitlines())
}
"""Category -> five words or phrases."""
