// Topics of one process: the newest message of each, and who is woken by it.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>

struct orb_metadata {
	uint16_t o_size;
	uint8_t newest[512];
	unsigned generation;
	std::function<void()> wakes;
};

#define ORB_ID(name) (&__orb_##name)
#define ORB_DEFINED_HERE(name) inline orb_metadata __orb_##name{sizeof(name##_s), {}, 0, {}}

inline void published(orb_metadata *meta, const void *message)
{
	static_assert(sizeof(meta->newest) == 512, "messages are smaller");
	std::memcpy(meta->newest, message, meta->o_size);
	meta->generation++;

	if (meta->wakes) {
		auto wakes = meta->wakes; // it may unregister itself
		wakes();
	}
}
