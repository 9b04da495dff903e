#pragma once
#include <uORB/uORB.h>

namespace uORB
{
template <typename T>
class Publication
{
public:
	Publication(orb_metadata *meta) : _meta(meta) {}
	bool publish(const T &data)
	{
		published(_meta, &data);
		return true;
	}

private:
	orb_metadata *_meta;
};
}
