// What examples/deploy/ros2 uses of rclcpp, with the same signatures. Topics are lines of the standard input, "TOPIC
// VALUES"; what is published is a line of the standard output.
#pragma once
#include <cstddef>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>

namespace rclcpp
{
class QoS
{
public:
  QoS(std::size_t) {}
};

class SensorDataQoS : public QoS
{
public:
  SensorDataQoS() : QoS(5) {}
};

class Logger
{
};

inline std::map<std::string, std::function<void(const std::string &)>> & topics()
{
  static std::map<std::string, std::function<void(const std::string &)>> all;
  return all;
}

template<typename MessageT>
class Publisher
{
public:
  using SharedPtr = std::shared_ptr<Publisher<MessageT>>;
  void publish(const MessageT & message) { write(message); }
};

template<typename MessageT>
class Subscription
{
public:
  using SharedPtr = std::shared_ptr<Subscription<MessageT>>;
};

class Node
{
public:
  explicit Node(const std::string &) {}
  virtual ~Node() = default;

  template<typename MessageT>
  std::shared_ptr<Publisher<MessageT>> create_publisher(const std::string &, const QoS &)
  {
    return std::make_shared<Publisher<MessageT>>();
  }

  template<typename MessageT, typename CallbackT>
  std::shared_ptr<Subscription<MessageT>> create_subscription(const std::string & topic, const QoS &, CallbackT && callback)
  {
    topics()[topic] = [callback](const std::string & text) {
      auto message = std::make_shared<MessageT>();
      read(text, *message);
      callback(message);
    };
    return std::make_shared<Subscription<MessageT>>();
  }

  Logger get_logger() const { return Logger(); }
};

inline void init(int, char **) {}
inline bool shutdown() { return true; }
inline void spin(std::shared_ptr<Node>)
{
  for (std::string line; std::getline(std::cin, line);) {
    const auto space = line.find(' ');
    topics().at(line.substr(0, space))(line.substr(space + 1));
  }
}
}  // namespace rclcpp

#define RCLCPP_WARN(logger, ...) ((void)(logger), std::fprintf(stderr, __VA_ARGS__), std::fputc('\n', stderr))
