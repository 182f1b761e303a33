// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "explorer.hpp"

#include <algorithm>
#include <ostream>
#include <unordered_set>
#include <utility>

namespace errand::model {

namespace {

// A buffer: how many stores, then of each: variable, value, order. The oldest first.
constexpr std::size_t buffered = 4;
constexpr std::size_t entry = 3;
constexpr std::size_t buffer_size = 1 + buffered * entry;

signed char& byte(std::string& state, std::size_t i) { return reinterpret_cast<signed char&>(state[i]); }
signed char byte(std::string const& state, std::size_t i) { return static_cast<signed char>(state[i]); }

std::size_t count(std::string const& state, std::size_t buffer) {
  return static_cast<std::size_t>(byte(state, buffer));
}
std::size_t entry_at(std::size_t buffer, std::size_t i) { return buffer + 1 + i * entry; }

void remove(std::string& state, std::size_t buffer, std::size_t i) {
  auto const at = static_cast<std::ptrdiff_t>(entry_at(buffer, i));
  auto const end = static_cast<std::ptrdiff_t>(buffer + buffer_size);
  std::copy(state.begin() + at + static_cast<std::ptrdiff_t>(entry), state.begin() + end, state.begin() + at);
  std::fill(state.begin() + end - static_cast<std::ptrdiff_t>(entry), state.begin() + end, '\0');
  --byte(state, buffer);
}

}  // namespace

int view::load(variable v) const {
  auto const buffer = all_.buffer_of(thread_);
  for (std::size_t i = count(state_, buffer); i > 0; --i)
    if (auto const at = entry_at(buffer, i - 1); static_cast<std::size_t>(byte(state_, at)) == v.index)
      return byte(state_, at + 1);
  return byte(state_, v.index);
}

void view::store(variable v, int value, order how) {
  auto const buffer = all_.buffer_of(thread_);
  if (all_.kind_ == memory::sequential || how == order::seq_cst) {
    modify(v, value);
    return;
  }
  auto const n = count(state_, buffer);
  if (n == buffered) return await(false);  // until one of them is visible
  auto const at = entry_at(buffer, n);
  byte(state_, at) = static_cast<signed char>(v.index);
  byte(state_, at + 1) = static_cast<signed char>(value);
  byte(state_, at + 2) = all_.kind_ == memory::weak && how == order::relaxed;
  ++byte(state_, buffer);
}

int view::modify(variable v, int value) {
  await(count(state_, all_.buffer_of(thread_)) == 0);
  return std::exchange(byte(state_, v.index), static_cast<signed char>(value));
}

int view::exchange(variable v, int value) { return modify(v, value); }
int view::add(variable v, int value) { return modify(v, byte(state_, v.index) + value); }
int view::set_bits(variable v, int bits) { return modify(v, byte(state_, v.index) | bits); }
int view::clear_bits(variable v, int bits) { return modify(v, byte(state_, v.index) & ~bits); }
bool view::compare_exchange(variable v, int expected, int desired) {
  int const there = byte(state_, v.index);
  return modify(v, there == expected ? desired : there) == expected;
}

signed char& view::operator[](variable v) { return byte(state_, v.index); }

void view::await(bool condition) {
  if (!condition) blocked_ = true;
}

void view::go_to(char const* label) {
  byte(state_, all_.position_of(thread_)) = static_cast<signed char>(all_.threads_[thread_]->labels_.at(label));
  jumped_ = true;
}

void view::end() {
  byte(state_, all_.position_of(thread_)) = static_cast<signed char>(all_.threads_[thread_]->steps_.size());
  jumped_ = true;
}

void view::check(bool condition, char const* what) {
  if (!condition && violation_.empty()) violation_ = what;
}

void view::touch(variable object) {
  if (byte(state_, object.index) == 0)
    check(false, (all_.names_[object.index] + " is touched after it was freed").c_str());
}

void view::free(variable object) {
  if (byte(state_, object.index) == 0) check(false, (all_.names_[object.index] + " is freed twice").c_str());
  byte(state_, object.index) = 0;
}

variable explorer::number(std::string name, int initial) {
  names_.push_back(std::move(name));
  initial_.push_back(static_cast<char>(initial));
  return {names_.size() - 1};
}

program& explorer::thread(std::string name) {
  owned_.push_back(std::unique_ptr<program>{new program{std::move(name)}});
  threads_.push_back(owned_.back().get());
  return *threads_.back();
}

std::size_t explorer::buffer_of(std::size_t thread) const {
  return names_.size() + threads_.size() + thread * buffer_size;
}

std::vector<std::size_t> explorer::visible_next(std::string const& state, std::size_t thread) const {
  auto const buffer = buffer_of(thread);
  std::vector<std::size_t> candidates;
  for (std::size_t i = 0; i < count(state, buffer); ++i) {
    auto const at = entry_at(buffer, i);
    bool const relaxed = byte(state, at + 2) != 0;
    bool first_of_its_variable = true;
    for (std::size_t k = 0; k < i; ++k)
      if (byte(state, entry_at(buffer, k)) == byte(state, at)) first_of_its_variable = false;
    // A release store keeps what came before it in front of it, not what comes after it behind it.
    if (i == 0 || (relaxed && first_of_its_variable)) candidates.push_back(i);
  }
  return candidates;
}

std::string explorer::stuck(std::string const& state) const {
  for (std::size_t t = 0; t < threads_.size(); ++t) {
    auto const position = static_cast<std::size_t>(byte(state, position_of(t)));
    auto const& steps = threads_[t]->steps_;
    if (position < steps.size() && !steps[position].may_rest)
      return threads_[t]->name_ + " waits for ever: " + steps[position].name;
  }
  return {};
}

struct explorer::node {
  std::string const* state;
  std::size_t from;
  std::string step;
};

verdict explorer::explore() const {
  std::unordered_set<std::string> seen;
  std::vector<node> nodes;
  verdict result;

  auto const way_to = [&](std::size_t at) {
    std::vector<std::string> way;
    for (; at != 0; at = nodes[at].from) way.push_back(nodes[at].step);
    std::reverse(way.begin(), way.end());
    return way;
  };
  auto const reach = [&](std::string const& state, std::size_t from, std::string step) {
    if (auto const [there, is_new] = seen.insert(state); is_new) nodes.push_back({&*there, from, std::move(step)});
  };

  auto first = initial_;
  first.append(threads_.size() + threads_.size() * buffer_size, '\0');
  reach(first, 0, {});
  for (std::size_t at = 0; at < nodes.size() && result.holds(); ++at) {
    auto const state = *nodes[at].state;
    bool moved = false;
    for (std::size_t t = 0; t < threads_.size() && result.holds(); ++t) {
      for (auto const i : visible_next(state, t)) {
        auto after = state;
        auto const store = entry_at(buffer_of(t), i);
        auto const v = static_cast<std::size_t>(byte(state, store));
        byte(after, v) = byte(state, store + 1);
        remove(after, buffer_of(t), i);
        reach(after, at, threads_[t]->name_ + "'s store to " + names_[v] + " becomes visible");
        moved = true;
      }
      auto const position = static_cast<std::size_t>(byte(state, position_of(t)));
      if (position >= threads_[t]->steps_.size()) continue;
      auto const& step = threads_[t]->steps_[position];
      auto after = state;
      view v{*this, after, t};
      step.act(v);
      if (v.blocked_) continue;
      moved = true;
      if (!v.jumped_) ++byte(after, position_of(t));
      auto named = threads_[t]->name_ + ": " + step.name;
      if (v.violation_.empty()) {
        reach(after, at, std::move(named));
      } else {
        result.violation = v.violation_;
        result.way = way_to(at);
        result.way.push_back(std::move(named));
      }
    }
    if (moved || !result.holds()) continue;
    result.violation = stuck(state);
    if (result.holds()) {
      auto last = state;
      view v{*this, last, 0};
      at_the_end_(v);
      result.violation = v.violation_;
    }
    if (!result.holds()) result.way = way_to(at);
  }
  result.states = seen.size();
  return result;
}

std::ostream& operator<<(std::ostream& out, verdict const& v) {
  if (v.holds()) return out << "holds in all of " << v.states << " states";
  out << v.violation << "\n";
  for (auto const& step : v.way) out << "    " << step << "\n";
  return out;
}

}  // namespace errand::model
