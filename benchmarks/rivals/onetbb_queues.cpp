// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// oneTBB in the rows of queues: task_arena::enqueue, and the serial nodes of a flow graph. The main thread is one more than the
// workers; it takes part where it waits for a graph.
#include "queue_items.hpp"
#include "queue_turns.hpp"

#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <tuple>

namespace microbench {

namespace {

namespace tbb = oneapi::tbb;
namespace flow = oneapi::tbb::flow;

// As in onetbb.cpp: the least of all such limits counts, and the arenas set the real ones.
void allow_many_threads() { static tbb::global_control const limit{tbb::global_control::max_allowed_parallelism, 512}; }

// An arena without the caller.
class items_of_an_arena {
 public:
  explicit items_of_an_arena(unsigned workers) : arena_{static_cast<int>(workers), 0} { allow_many_threads(); }

  template <class F>
  auto on_main(F f) {
    return f();
  }
  template <class F>
  void inside(F f) {
    arena_.enqueue([&] {
      f();
      done_.give();
    });
    done_.take();
  }
  void prepare(std::size_t) {}
  void push() { arena_.enqueue(empty_task); }
  void wait(roll_call const& who, std::size_t count) { who.wait_for(count); }
  void verify(std::size_t) const {}

 private:
  tbb::task_arena arena_;
  answer done_{};
};

// A serial node whose messages are its items. A graph belongs to the arena in which it was made.
class items_of_a_node {
 public:
  explicit items_of_a_node(unsigned workers) : arena_{static_cast<int>(workers) + 1} {
    allow_many_threads();
    arena_.execute([this] {
      graph_.emplace();
      node_.emplace(*graph_, flow::serial, [this](bool stop) {
        if (stop) {
          stopper_.stand();
        } else {
          visit();
          turns_.enter();
        }
        return flow::continue_msg{};
      });
    });
  }
  items_of_a_node(items_of_a_node const&) = delete;
  items_of_a_node& operator=(items_of_a_node const&) = delete;
  ~items_of_a_node() {
    arena_.execute([this] {
      node_.reset();
      graph_.reset();
    });
  }

  template <class F>
  auto on_main(F f) {
    return arena_.execute(f);
  }
  template <class F>
  void inside(F f) {
    tbb::task_group group;
    group.run_and_wait(f);
  }
  void prepare(std::size_t) { turns_.reset(); }
  void push() { node_->try_put(false); }
  void wait(roll_call const&, std::size_t) { graph_->wait_for_all(); }
  void verify(std::size_t count) const { turns_.verify(count); }
  void hold() {
    node_->try_put(true);
    stopper_.wait_until_it_stands();
  }
  void release() { stopper_.let_go(); }

 private:
  one_at_a_time turns_{};
  stopper stopper_{};
  tbb::task_arena arena_;
  std::optional<flow::graph> graph_{};
  std::optional<flow::function_node<bool>> node_{};
};

constexpr auto an_arena = "oneTBB task_arena";
constexpr auto a_node = "oneTBB serial node";
add const main_arena{"queue-from-main", role::rival, an_arena, &items_from_main<items_of_an_arena>, place::own_process};
add const main_node{"queue-from-main", role::rival, a_node, &items_from_main<items_of_a_node>, place::own_process};
add const inside_arena{"queue-from-inside", role::rival, an_arena, &items_from_inside<items_of_an_arena>, place::own_process};
add const inside_node{"queue-from-inside", role::rival, a_node, &items_from_inside<items_of_a_node>, place::own_process};
add const apart{"queue-apart", role::rival, a_node, &items_apart<items_of_a_node>, place::own_process};
add const loaded{"queue-loaded", role::rival, a_node, &items_loaded<items_of_a_node>};

// Two serial nodes in a circle, by edges or each putting to the other; until the message has been counted down.
struct by_edges {
  using node = flow::multifunction_node<std::size_t, std::tuple<std::size_t>>;
  explicit by_edges(flow::graph& g) : one{g, flow::serial, &hop}, two{g, flow::serial, &hop} {
    flow::make_edge(flow::output_port<0>(one), two);
    flow::make_edge(flow::output_port<0>(two), one);
  }
  static void hop(std::size_t left, node::output_ports_type& out) {
    visit();
    if (left > 1) std::get<0>(out).try_put(left - 1);
  }
  void start(std::size_t count) { one.try_put(count); }
  node one;
  node two;
};
struct by_try_put {
  using node = flow::function_node<std::size_t>;
  explicit by_try_put(flow::graph& g)
      : one{g, flow::serial, [this](std::size_t left) { return hop(left, two); }},
        two{g, flow::serial, [this](std::size_t left) { return hop(left, one); }} {}
  static flow::continue_msg hop(std::size_t left, node& other) {
    visit();
    if (left > 1) other.try_put(left - 1);
    return {};
  }
  void start(std::size_t count) { one.try_put(count); }
  node one;
  node two;
};

template <class Nodes>
repetition hop_between(settings const& s) {
  allow_many_threads();
  auto arena = std::make_shared<tbb::task_arena>(static_cast<int>(s.workers) + 1);
  return [arena, n = s.times(200'000)] {
    return arena->execute([&] {
      flow::graph graph;
      Nodes nodes{graph};
      roll_call const who;
      auto const cpu = cpu_ns();
      auto const begin = now_ns();
      nodes.start(n);
      graph.wait_for_all();
      auto const end = now_ns();
      auto const spent = cpu_ns() - cpu;
      auto facts = who.end(n).facts();
      facts.push_back({"CPU", static_cast<double>(spent) / static_cast<double>(end - begin)});
      return sample{ns_each(begin, end, n), std::move(facts)};
    });
  };
}
add const hop_by_edges{"queue-hops", role::rival, "oneTBB flow nodes", &hop_between<by_edges>};
add const hop_by_try_put{"queue-hops", role::rival, "oneTBB flow nodes, try_put", &hop_between<by_try_put>};

add const made{"queue-create", role::rival, a_node, [](settings const& s) -> repetition {
                 allow_many_threads();
                 auto arena = std::make_shared<tbb::task_arena>(static_cast<int>(s.workers) + 1);
                 return [arena, n = s.times(100'000)] {
                   return arena->execute([&] {
                     flow::graph graph;
                     allocation_count const count;
                     auto const begin = now_ns();
                     for (std::size_t i = 0; i < n; ++i)
                       flow::function_node<bool> const one{graph, flow::serial, [](bool) { return flow::continue_msg{}; }};
                     auto const end = now_ns();
                     return sample{ns_each(begin, end, n),
                                   {{"allocations each", static_cast<double>(count.so_far()) / static_cast<double>(n)}}};
                   });
                 };
               }};

}  // namespace

}  // namespace microbench
