// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small explicit-state explorer: a protocol is written as a few threads of a few steps over a few small variables, and all
// interleavings are tried, with a memory that may delay stores. A stress test meets the one bad interleaving in a million
// by luck; this meets it always, and prints the shortest way there. The models beside it follow the protocols of
// src/task/README.md and src/sched/README.md; each also has to fail when a step is left out, or it would prove nothing.
//
// What it does not know: loads that are carried out early, and read-modify-writes that are not barriers. A model says
// nothing about an order that only these could break.
#pragma once

#include <cstddef>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace errand::model {

/// Of a store: whether it may be seen late, and whether later stores may be seen before it.
enum class order { relaxed, release, seq_cst };

/// How stores that are not seq_cst become visible to other threads.
enum class memory {
  sequential,     // at once
  store_buffers,  // later, in their order: x86-64
  weak,           // later; a relaxed one may be overtaken, or overtake, one of another variable
};

/// A small number: shared, a thread's own, or the life of an object.
struct variable {
  std::size_t index;
};

/// What a step sees and does. It is atomic: one access to shared memory each, unless a lock makes more of them one.
class view {
 public:
  [[nodiscard]] int load(variable v) const;
  void store(variable v, int value, order how);
  /// Read-modify-writes answer what was there. They wait for the thread's own stores to be visible.
  int exchange(variable v, int value);
  int add(variable v, int value);
  int set_bits(variable v, int bits);
  int clear_bits(variable v, int bits);
  bool compare_exchange(variable v, int expected, int desired);

  /// A thread's own variable.
  [[nodiscard]] signed char& operator[](variable v);

  /// The step can only happen when this holds.
  void await(bool condition);
  void go_to(char const* label);
  void end();

  /// The model is violated unless this holds.
  void check(bool condition, char const* what);
  /// Uses an object's memory; frees it.
  void touch(variable object);
  void free(variable object);

 private:
  friend class explorer;
  view(class explorer const& all, std::string& state, std::size_t thread) : all_{all}, state_{state}, thread_{thread} {}
  int modify(variable v, int value);

  explorer const& all_;
  std::string& state_;
  std::size_t thread_;
  bool blocked_ = false;
  bool jumped_ = false;
  std::string violation_{};
};

/// A thread of the model: steps in their order, with labels to go to.
class program {
 public:
  program& step(std::string name, std::function<void(view&)> act) {
    return add(std::move(name), std::move(act), false);
  }
  /// A step before which the thread may stay for ever.
  program& rest(std::string name, std::function<void(view&)> act) { return add(std::move(name), std::move(act), true); }
  program& label(std::string name) {
    labels_[std::move(name)] = steps_.size();
    return *this;
  }

 private:
  friend class explorer;
  friend class view;
  struct one_step {
    std::string name;
    std::function<void(view&)> act;
    bool may_rest;
  };
  explicit program(std::string name) : name_{std::move(name)} {}
  program& add(std::string name, std::function<void(view&)> act, bool may_rest) {
    steps_.push_back({std::move(name), std::move(act), may_rest});
    return *this;
  }

  std::string name_;
  std::vector<one_step> steps_{};
  std::map<std::string, std::size_t> labels_{};
};

/// What came of an exploration; printed, it tells the way to the violation.
struct verdict {
  std::string violation{};         // empty: the model holds
  std::vector<std::string> way{};  // the steps that lead there, the fewest possible
  std::size_t states = 0;

  [[nodiscard]] bool holds() const { return violation.empty(); }
  /// Whether it was violated in just this respect.
  [[nodiscard]] bool fails_with(std::string const& what) const { return violation.find(what) != std::string::npos; }
};
std::ostream& operator<<(std::ostream& out, verdict const& v);

class explorer {
 public:
  explicit explorer(memory kind) : kind_{kind} {}

  variable number(std::string name, int initial = 0);
  /// Something that is freed once, and not touched afterwards.
  variable object(std::string name) { return number(std::move(name), 1); }
  /// All threads before the first explore(); the reference stays valid.
  program& thread(std::string name);
  /// Must hold wherever nothing can move any more.
  void at_the_end(std::function<void(view&)> check) { at_the_end_ = std::move(check); }

  [[nodiscard]] verdict explore() const;

 private:
  friend class view;
  struct node;

  // A state: the variables, each thread's position, each thread's stores that nobody else has seen.
  [[nodiscard]] std::size_t position_of(std::size_t thread) const { return names_.size() + thread; }
  [[nodiscard]] std::size_t buffer_of(std::size_t thread) const;
  [[nodiscard]] std::vector<std::size_t> visible_next(std::string const& state, std::size_t thread) const;
  [[nodiscard]] std::string stuck(std::string const& state) const;

  memory kind_;
  std::vector<std::string> names_{};
  std::string initial_{};
  std::vector<program*> threads_{};
  std::vector<std::unique_ptr<program>> owned_{};
  std::function<void(view&)> at_the_end_ = [](view&) {};
};

}  // namespace errand::model
