#pragma once
#include <px4_platform_common/px4_work_queue/ScheduledWorkItem.hpp>
#include <uORB/Subscription.hpp>

namespace uORB
{
class SubscriptionCallbackWorkItem : public Subscription
{
public:
	SubscriptionCallbackWorkItem(px4::WorkItem *item, orb_metadata *meta) : Subscription(meta), _item(item) {}
	bool registerCallback()
	{
		_meta->wakes = [this] { _item->ScheduleNow(); };
		return true;
	}
	void unregisterCallback() { _meta->wakes = nullptr; }

private:
	px4::WorkItem *_item;
};
}
