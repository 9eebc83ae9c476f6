# SPDX-License-Identifier: Apache-2.0
"""An origin that punishes too many connections, or forgets one."""
from .harness import MIB, Case, at_least, measure

CROWD = 6


@measure("crowd", "cold")
def crowd(stage):
    """An origin that gives a tenth when more than 6 connections are busy, and one that lets one connection stall: from
    its 30th second on, a cold read is at least 0.8 as fast as the best fixed number of connections."""
    world = stage.world()
    rate = stage.size(60, 40) * 1_000_000
    begin, end = stage.size(30, 3), stage.size(45, 6)
    # A fixed number of connections is as fast in its first seconds as later: a shorter file shows it.
    long, short = rate * (end + 2) // MIB * MIB, rate * stage.size(10, 3) // MIB * MIB
    repo = stage.add(world, {"model.safetensors": stage.random_file(long, seed="crowd"),
                             "short.safetensors": stage.random_file(short, seed="short crowd")})

    def ours():
        # As fast as the bytes that came between the two seconds, or all of them where it was done before.
        figures = stage.cold(world, repo, "model.safetensors", "settle", **{"from": begin, "until": end})
        return figures | {"per_byte": figures["seconds"] / figures["bytes"]}

    def reference(connections):
        figures = stage.aria2(world, repo, "short.safetensors", connections=connections)
        return figures | {"per_byte": figures["seconds"] / short}
    for name, options in (("a tenth above 6 connections", {"rate": rate, "crowd": CROWD, "collapsed": 0.1}),
                          ("one connection stalls", {"rate": rate, "stall_after": 8 * MIB})):
        best = 4
        if "crowd" in options:
            with stage.behind(world, **options):
                best = min((1, 2, 4, CROWD), key=lambda count: reference(count)["per_byte"])
        yield compared(stage, world, name, options, best, ours, reference)


def compared(stage, world, name, options, best, ours, reference):
    def behind(options, work):
        with stage.behind(world, **options):
            return work()
    # aria2c waits for a stalled connection for a minute; its best is what it does where none stalls.
    calm = {name: value for name, value in options.items() if name != "stall_after"}
    return Case(name, "speed", at_least(0.8), of="per_byte", cold=True, rounds=3,
               beside=f"aria2c, {best} connections, the best for it", ours=lambda: behind(options, ours),
               reference=lambda: behind(calm, lambda: reference(best)))
