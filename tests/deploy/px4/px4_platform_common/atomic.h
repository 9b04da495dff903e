#pragma once
#include <atomic>

namespace px4
{
template <typename T>
class atomic
{
public:
	atomic() = default;
	explicit atomic(T value) : _value(value) {}
	T load() const { return _value.load(); }
	void store(T value) { _value.store(value); }

private:
	std::atomic<T> _value{};
};

using atomic_bool = atomic<bool>;
}
