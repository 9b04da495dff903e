// What examples/deploy/px4 uses of PX4's modules, with the same signatures.
#pragma once
#include <cstring>

#include <px4_platform_common/atomic.h>
#include <px4_platform_common/log.h>

#define PX4_OK 0
#define PX4_ERROR (-1)
#define __EXPORT __attribute__((visibility("default")))
#define PRINT_MODULE_DESCRIPTION(text) ((void)std::fprintf(stderr, "%s\n", text))
#define PRINT_MODULE_USAGE_NAME(name, category) ((void)std::fprintf(stderr, "%s (%s)\n", name, category))
#define PRINT_MODULE_USAGE_COMMAND(name) ((void)std::fprintf(stderr, "  %s\n", name))
#define PRINT_MODULE_USAGE_COMMAND_DESCR(name, text) ((void)std::fprintf(stderr, "  %s: %s\n", name, text))
#define PRINT_MODULE_USAGE_DEFAULT_COMMANDS() ((void)std::fprintf(stderr, "  stop, status\n"))

static constexpr const int task_id_is_work_queue = -2;

template <class T>
class ModuleBase
{
public:
	virtual ~ModuleBase() = default;

	static int main(int argc, char *argv[])
	{
		if (argc > 1 && std::strcmp(argv[1], "start") == 0) {
			return T::task_spawn(argc - 1, argv + 1);
		}

		if (argc > 1 && std::strcmp(argv[1], "stop") == 0) {
			get_instance()->request_stop();
			return PX4_OK;
		}

		return T::custom_command(argc - 1, argv + 1);
	}

	static bool is_running() { return _task_id != -1; }
	virtual void request_stop() { _task_should_exit.store(true); }
	bool should_exit() const { return _task_should_exit.load(); }

protected:
	static void exit_and_cleanup()
	{
		delete _object.load();
		_object.store(nullptr);
		_task_id = -1;
	}

	static T *get_instance() { return _object.load(); }

	static px4::atomic<T *> _object;
	static int _task_id;

private:
	px4::atomic_bool _task_should_exit{false};
};

template <class T>
px4::atomic<T *> ModuleBase<T>::_object{nullptr};

template <class T>
int ModuleBase<T>::_task_id = -1;
