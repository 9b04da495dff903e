#pragma once
#include <cstdio>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace std_msgs::msg
{
struct Float32MultiArray
{
  using ConstSharedPtr = std::shared_ptr<const Float32MultiArray>;
  std::vector<float> data;
};

inline void read(const std::string & text, Float32MultiArray & message)
{
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    message.data.push_back(std::stof(word));
  }
}

inline void write(const Float32MultiArray & message)
{
  for (float x : message.data) {
    std::printf("%.9g ", static_cast<double>(x));
  }
  std::printf("\n");
}
}  // namespace std_msgs::msg
