#pragma once

namespace px4
{
struct wq_config_t {
	const char *name;
};

namespace wq_configurations
{
static constexpr wq_config_t rate_ctrl{"wq:rate_ctrl"};
}

class WorkItem
{
public:
	WorkItem(const char *, const wq_config_t &) {}
	virtual ~WorkItem() = default;
	void ScheduleNow() { Run(); } // the queue's thread is the caller's here

protected:
	virtual void Run() = 0;
};

class ScheduledWorkItem : public WorkItem
{
protected:
	ScheduledWorkItem(const char *name, const wq_config_t &config) : WorkItem(name, config) {}
};
}
