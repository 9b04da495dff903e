#pragma once
#include <uORB/uORB.h>

namespace uORB
{
class Subscription
{
public:
	Subscription(orb_metadata *meta) : _meta(meta) {}
	bool updated() { return _seen != _meta->generation; }
	bool update(void *to)
	{
		if (!updated()) {
			return false;
		}

		std::memcpy(to, _meta->newest, _meta->o_size);
		_seen = _meta->generation;
		return true;
	}

protected:
	orb_metadata *_meta;
	unsigned _seen{0};
};
}
