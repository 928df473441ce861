"""A house small enough to know by heart."""

from __future__ import annotations

KITCHEN = """\
; a kitchen with one of everything that matters
(define (problem test) (:domain alfred)
 (:objects agent1 - agent)
 (:init
  (atLocation agent1 loc_bar_0)
  (receptacleType CounterTop_bar_1 CounterTopType) (receptacleAtLocation CounterTop_bar_1 loc_bar_1)
  (receptacleType Microwave_bar_1 MicrowaveType) (receptacleAtLocation Microwave_bar_1 loc_bar_1)
  (openable Microwave_bar_1)
  (receptacleType Sink_bar_1_bar_SinkBasin SinkBasinType) (receptacleAtLocation Sink_bar_1_bar_SinkBasin loc_bar_2)
  (receptacleType Sink_bar_1 SinkType) (receptacleAtLocation Sink_bar_1 loc_bar_3)
  (receptacleType Fridge_bar_1 FridgeType) (receptacleAtLocation Fridge_bar_1 loc_bar_4) (openable Fridge_bar_1)
  (receptacleType Drawer_bar_1 DrawerType) (receptacleAtLocation Drawer_bar_1 loc_bar_5) (openable Drawer_bar_1)
  (receptacleType Drawer_bar_2 DrawerType) (receptacleAtLocation Drawer_bar_2 loc_bar_6) (openable Drawer_bar_2)
  (opened Drawer_bar_2)
  (objectType Apple_bar_1 AppleType) (inReceptacle Apple_bar_1 Fridge_bar_1) (objectAtLocation Apple_bar_1 loc_bar_4)
  (pickupable Apple_bar_1) (cleanable Apple_bar_1) (heatable Apple_bar_1) (coolable Apple_bar_1)
  (sliceable Apple_bar_1)
  (objectType Apple_bar_2 AppleType) (inReceptacle Apple_bar_2 CounterTop_bar_1)
  (objectAtLocation Apple_bar_2 loc_bar_1)
  (pickupable Apple_bar_2) (cleanable Apple_bar_2) (heatable Apple_bar_2) (coolable Apple_bar_2)
  (sliceable Apple_bar_2)
  (objectType Knife_bar_1 KnifeType) (inReceptacle Knife_bar_1 CounterTop_bar_1)
  (objectAtLocation Knife_bar_1 loc_bar_1) (pickupable Knife_bar_1) (cleanable Knife_bar_1)
  (objectType Plate_bar_1 PlateType) (inReceptacle Plate_bar_1 Drawer_bar_1) (objectAtLocation Plate_bar_1 loc_bar_5)
  (pickupable Plate_bar_1) (isReceptacleObject Plate_bar_1) (inReceptacleObject Knife_bar_1 Plate_bar_1)
  (objectType DeskLamp_bar_1 DeskLampType) (inReceptacle DeskLamp_bar_1 Drawer_bar_2)
  (objectAtLocation DeskLamp_bar_1 loc_bar_6) (toggleable DeskLamp_bar_1)
  (canContain CounterTopType AppleType) (canContain CounterTopType KnifeType) (canContain FridgeType AppleType)
  (canContain MicrowaveType AppleType) (canContain DrawerType KnifeType) (canContain DrawerType PlateType)
  (canContain SinkBasinType AppleType)
 )
 (:goal {goal}))
"""
CLEAN_APPLE = (
    "(and (exists (?r - receptacle) (exists (?o - object) (and (cleanable ?o) (objectType ?o AppleType) "
    "(receptacleType ?r FridgeType) (isClean ?o) (inReceptacle ?o ?r)))))"
)
