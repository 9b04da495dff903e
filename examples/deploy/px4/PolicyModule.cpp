#include "PolicyModule.hpp"

#include <cstring>

#include <drivers/drv_hrt.h>
#include <px4_platform_common/log.h>

static_assert(TRACK_OBSERVATION_SIZE == 6 && TRACK_ACTION_SIZE == 3, "see Run: what the policy sees and does");
static_assert(HOVER_OBSERVATION_SIZE == 6 && HOVER_ACTION_SIZE == 3, "see Run: what the policy sees and does");

PolicyModule::PolicyModule() : ScheduledWorkItem(MODULE_NAME, px4::wq_configurations::rate_ctrl)
{
	hover_reset(&_state);
}

PolicyModule::~PolicyModule() = default;

bool PolicyModule::init()
{
	return _angular_velocity_sub.registerCallback();
}

void PolicyModule::Run()
{
	if (should_exit()) {
		_angular_velocity_sub.unregisterCallback();
		exit_and_cleanup();
		return;
	}

	vehicle_angular_velocity_s turning;

	if (!_angular_velocity_sub.update(&turning)) {
		return;
	}

	_local_position_sub.update(&_local_position);

	// Yours: the order, the signs and the units of the training.
	const float observation[TRACK_OBSERVATION_SIZE] {
		turning.xyz[0], turning.xyz[1], turning.xyz[2],
		_local_position.vx, _local_position.vy, _local_position.vz,
	};

	const bool hovers = _hovers.load();

	if (hovers != _hovered) {
		hover_reset(&_state); // an episode begins
		_hovered = hovers;
	}

	debug_array_s action{};
	const int refused = hovers ? hover_act(&_state, observation, action.data) : track_act(observation, action.data);

	if (refused) {
		return; // an observation was not finite
	}

	// Moves nothing. Once the numbers are right, publish what your vehicle flies by, such as vehicle_rates_setpoint.
	action.id = 1;
	strncpy(action.name, hovers ? "hover" : "track", sizeof(action.name) - 1);
	action.timestamp = hrt_absolute_time();
	_action_pub.publish(action);
}

int PolicyModule::task_spawn(int, char *[])
{
	PolicyModule *module = new PolicyModule();
	_object.store(module);
	_task_id = task_id_is_work_queue;

	if (module != nullptr && module->init()) {
		return PX4_OK;
	}

	PX4_ERR("the policy does not start");
	_object.store(nullptr);
	_task_id = -1;
	delete module;
	return PX4_ERROR;
}

int PolicyModule::custom_command(int argc, char *argv[])
{
	const bool hovers = argc > 0 && strcmp(argv[0], "hover") == 0;

	if (!hovers && (argc == 0 || strcmp(argv[0], "track") != 0)) {
		return print_usage("unknown command");
	}

	if (!is_running()) {
		return print_usage("not running");
	}

	get_instance()->_hovers.store(hovers);
	return PX4_OK;
}

int PolicyModule::print_usage(const char *reason)
{
	if (reason) {
		PX4_WARN("%s\n", reason);
	}

	PRINT_MODULE_DESCRIPTION("Two trained policies, in C.");
	PRINT_MODULE_USAGE_NAME("policy", "controller");
	PRINT_MODULE_USAGE_COMMAND("start");
	PRINT_MODULE_USAGE_COMMAND_DESCR("track", "Decide by the policy without a memory");
	PRINT_MODULE_USAGE_COMMAND_DESCR("hover", "Decide by the policy with one, from the start of an episode");
	PRINT_MODULE_USAGE_DEFAULT_COMMANDS();
	return 0;
}

extern "C" __EXPORT int policy_main(int argc, char *argv[])
{
	return PolicyModule::main(argc, argv);
}
