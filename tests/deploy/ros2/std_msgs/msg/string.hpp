#pragma once
#include <memory>
#include <string>

namespace std_msgs::msg
{
struct String
{
  using ConstSharedPtr = std::shared_ptr<const String>;
  std::string data;
};

inline void read(const std::string & text, String & message) { message.data = text; }
}  // namespace std_msgs::msg
