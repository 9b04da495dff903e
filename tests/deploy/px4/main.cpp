// Lines of the standard input: "policy COMMAND" as in PX4's shell, or what is measured, six numbers. What is published
// is a line of the standard output.
#include <iostream>
#include <sstream>
#include <string>

#include <uORB/topics/debug_array.h>
#include <uORB/topics/vehicle_angular_velocity.h>
#include <uORB/topics/vehicle_local_position.h>

extern "C" int policy_main(int argc, char *argv[]);

int main()
{
	ORB_ID(debug_array)->wakes = [] {
		const auto *done = reinterpret_cast<const debug_array_s *>(ORB_ID(debug_array)->newest);
		std::printf("%.9g %.9g %.9g\n", static_cast<double>(done->data[0]), static_cast<double>(done->data[1]),
			    static_cast<double>(done->data[2]));
	};

	for (std::string line; std::getline(std::cin, line);) {
		std::istringstream words(line);

		if (line.rfind("policy ", 0) == 0) {
			std::string name, command;
			words >> name >> command;
			char *argv[] {name.data(), command.data(), nullptr};
			policy_main(2, argv);
			continue;
		}

		vehicle_angular_velocity_s turning{};
		vehicle_local_position_s position{};
		std::string all[6];

		for (auto &one : all) {
			words >> one;
		}

		for (int i = 0; i < 3; i++) {
			turning.xyz[i] = std::stof(all[i]);
		}

		position.vx = std::stof(all[3]);
		position.vy = std::stof(all[4]);
		position.vz = std::stof(all[5]);
		published(ORB_ID(vehicle_local_position), &position);
		published(ORB_ID(vehicle_angular_velocity), &turning);
	}
}
