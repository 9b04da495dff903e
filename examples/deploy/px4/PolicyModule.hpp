#pragma once

#include <px4_platform_common/atomic.h>
#include <px4_platform_common/module.h>
#include <px4_platform_common/px4_work_queue/ScheduledWorkItem.hpp>
#include <uORB/Publication.hpp>
#include <uORB/Subscription.hpp>
#include <uORB/SubscriptionCallback.hpp>
#include <uORB/topics/debug_array.h>
#include <uORB/topics/vehicle_angular_velocity.h>
#include <uORB/topics/vehicle_local_position.h>

#include "hover.h"
#include "track.h"

/** Decides at every new angular velocity. `policy hover` and `policy track` change the policy while it runs. */
class PolicyModule : public ModuleBase<PolicyModule>, public px4::ScheduledWorkItem
{
public:
	PolicyModule();
	~PolicyModule() override;

	static int task_spawn(int argc, char *argv[]);
	static int custom_command(int argc, char *argv[]);
	static int print_usage(const char *reason = nullptr);

	bool init();

private:
	void Run() override;

	uORB::SubscriptionCallbackWorkItem _angular_velocity_sub{this, ORB_ID(vehicle_angular_velocity)};
	uORB::Subscription _local_position_sub{ORB_ID(vehicle_local_position)};
	uORB::Publication<debug_array_s> _action_pub{ORB_ID(debug_array)};

	vehicle_local_position_s _local_position{};
	hover_state _state;
	px4::atomic_bool _hovers{false};
	bool _hovered{false};
};
