"""Two legged robots that follow velocity commands, as Gymnasium environments: `robots:Go1-v0` and `robots:G1-v0`.

Their models and public policies stand in the folder that LILLIPUT_ROBOTS names (`go1/scene.xml`, `g1/scene.xml`).
"""

import gymnasium

gymnasium.register("Go1-v0", entry_point="robots.go1:Go1")
gymnasium.register("G1-v0", entry_point="robots.g1:G1")
