// Decides whenever an observation comes, and publishes the action. `ros2 topic pub /mode std_msgs/msg/String
// "{data: hover}"` changes the policy.

#include <memory>
#include <string>

#include "rclcpp/rclcpp.hpp"
#include "std_msgs/msg/float32_multi_array.hpp"
#include "std_msgs/msg/string.hpp"

#include "hover.h"
#include "track.h"

static_assert(TRACK_OBSERVATION_SIZE == HOVER_OBSERVATION_SIZE && TRACK_ACTION_SIZE == HOVER_ACTION_SIZE,
              "both policies see and do the same");

class PolicyNode : public rclcpp::Node
{
public:
  PolicyNode() : Node("policy")
  {
    hover_reset(&state_);
    action_ = create_publisher<std_msgs::msg::Float32MultiArray>("action", 1);
    observation_ = create_subscription<std_msgs::msg::Float32MultiArray>(
      "observation", rclcpp::SensorDataQoS(),
      [this](std_msgs::msg::Float32MultiArray::ConstSharedPtr seen) { decide(*seen); });
    mode_ = create_subscription<std_msgs::msg::String>(
      "mode", 1, [this](std_msgs::msg::String::ConstSharedPtr said) { change(said->data); });
  }

private:
  void change(const std::string & name)
  {
    if (name != "track" && name != "hover") {
      RCLCPP_WARN(get_logger(), "no policy '%s'; there are track and hover", name.c_str());
      return;
    }
    hovers_ = name == "hover";
    hover_reset(&state_);  // an episode begins
  }

  void decide(const std_msgs::msg::Float32MultiArray & seen)
  {
    if (seen.data.size() != TRACK_OBSERVATION_SIZE) {
      RCLCPP_WARN(get_logger(), "%zu numbers; an observation has %d", seen.data.size(), TRACK_OBSERVATION_SIZE);
      return;
    }
    std_msgs::msg::Float32MultiArray done;
    done.data.resize(TRACK_ACTION_SIZE);
    const int refused = hovers_ ? hover_act(&state_, seen.data.data(), done.data.data())
                                : track_act(seen.data.data(), done.data.data());
    if (refused) {
      RCLCPP_WARN(get_logger(), "an observation is not finite: no action");
      return;
    }
    action_->publish(done);
  }

  bool hovers_ = false;
  hover_state state_;
  rclcpp::Publisher<std_msgs::msg::Float32MultiArray>::SharedPtr action_;
  rclcpp::Subscription<std_msgs::msg::Float32MultiArray>::SharedPtr observation_;
  rclcpp::Subscription<std_msgs::msg::String>::SharedPtr mode_;
};

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<PolicyNode>());
  rclcpp::shutdown();
  return 0;
}
