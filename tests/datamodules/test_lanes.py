"""The division of a stream between devices and loading processes: every image once, equal shares, exact lengths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from datamodules.lanes import Lane, LaneSampler, LaneShare, buffered_order, turns

# images, images in a batch, devices, lanes: more lanes than batches, fewer images than a batch, nothing left over, ...
CASES = list(product((4, 7, 12, 61), (1, 3, 64), (1, 2, 3), (1, 2, 3, 5)))


def lanes_of(length, batch_size, devices, lanes, training):
    whole = Lane(length, batch_size, training, devices=devices, lanes=lanes)
    return [whole._replace(rank=rank, number=number) for rank in range(devices) for number in range(lanes)]


@pytest.mark.parametrize("training", [True, False])
def test_lanes_have_no_image_in_common_and_leave_out_as_few_as_folders_do(training):
    for length, batch_size, devices, lanes in CASES:
        each = lanes_of(length, batch_size, devices, lanes, training)
        ranges = [range(lane.start, lane.start + lane.size) for lane in each]
        dealt = [[lane.dealt(place) for place in range(lane.size)] for lane in each]
        share = length // devices
        given = devices * (share // min(batch_size, share) * min(batch_size, share)) if training else length
        for places in (ranges, dealt):
            found = [place for lane in places for place in lane]
            assert len(found) == len(set(found)) == given
            assert 0 <= min(found) <= max(found) < length
        assert all(list(places) == sorted(places) for places in dealt)
        images = {lane.images for lane in each}
        assert len(images) == 1 if training else max(images) - min(images) <= 1


@pytest.mark.parametrize("training", [True, False])
def test_batches_take_turns_between_lanes(training):
    for length, batch_size, devices, lanes in CASES:
        for lane in lanes_of(length, batch_size, devices, lanes, training)[::lanes]:
            asked = list(turns(lane))
            assert len(asked) == lane.images
            size = min(batch_size, length // devices) if training else batch_size
            for place, turn in enumerate(asked):
                assert turn.lane == lane._replace(number=place // size % lanes)
            for number in range(lanes):
                of_lane = [turn.number for turn in asked if turn.lane.number == number]
                assert of_lane == list(range(lane._replace(number=number).size))


def test_samplers_skip_once_and_say_their_length():
    lane = Lane(23, 3, training=True, devices=2, lanes=2)
    sampler = LaneSampler(lane, seed=1, buffer=4)
    sampler.set_epoch(5)
    whole = list(sampler)
    assert len(whole) == len(sampler) == 9
    assert {turn.lane.epoch for turn in whole} == {5}
    sampler.skip = 6
    assert list(sampler) == whole[6:]
    assert list(sampler) == whole
    share = LaneShare(lane._replace(training=False))
    assert len(share) == len(list(share)) == 12


@pytest.mark.parametrize("buffer", [1, 2, 8, 1000])
def test_a_buffer_mixes_as_far_as_it_reaches(buffer):
    lane = Lane(50, 10, training=True, lanes=2)
    order = buffered_order(lane, buffer, seed=3)
    assert sorted(order) == list(range(lane.size))
    assert all(place <= turn + buffer - 1 for turn, place in enumerate(order))
    assert np.array_equal(order, buffered_order(lane, buffer, seed=3))
    if buffer > 1:
        others = [lane._replace(epoch=1), lane._replace(rank=1), lane._replace(number=1)]
        orders = [order, buffered_order(lane, buffer, seed=4)]
        orders += [buffered_order(other._replace(length=60), buffer, seed=3)[:20] for other in others]
        assert len({tuple(each[:20]) for each in orders}) == 5
    else:
        assert list(order) == list(range(lane.size))
