// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Boost.Asio's thread_pool. Handlers must not wait for one another on a pool of fixed size, so
// the fine-grained form is a chain: each handler counts one inner loop and posts the next.
#include "bench/technique.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <latch>

namespace bench {
namespace {

class asio_pool : public runner {
 public:
  explicit asio_pool(int workers) : pool_(static_cast<std::size_t>(workers)) {}
  ~asio_pool() override { pool_.join(); }

  void run(std::span<job const> jobs, std::span<answer> answers) override {
    std::latch left(static_cast<std::ptrdiff_t>(jobs.size()));
    for (std::size_t i = 0; i < jobs.size(); ++i) post_job(jobs[i], answers[i], left);
    left.wait();
  }

  void run_fine(std::span<job const> jobs, std::span<answer> answers) override {
    std::latch left(static_cast<std::ptrdiff_t>(jobs.size()));
    std::vector<chain> chains(jobs.size());
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (jobs[i].kind != job_kind::count) {
        post_job(jobs[i], answers[i], left);
        continue;
      }
      chains[i] = {&pool_, jobs[i].n, 0, current_place(), now(), &answers[i], &left};
      answers[i] = {};
      chains[i].post_next();
    }
    left.wait();
  }

 private:
  void post_job(job const& j, answer& a, std::latch& left) {
    boost::asio::post(pool_, [&] {
      a = run_job(j);
      left.count_down();
    });
  }

  // One counting job, an inner loop at a time.
  struct chain {
    boost::asio::thread_pool* pool = nullptr;
    std::uint64_t n = 0;
    std::uint64_t i = 0;
    std::uint64_t dispatcher = 0;  // place of the handler, or of main, that posted inner loop i
    double begin = 0;
    answer* out = nullptr;
    std::latch* left = nullptr;

    void post_next() {
      boost::asio::post(*pool, [this] {
        unit const u = inner_loop(i);
        out->value += u.steps;
        out->elsewhere += u.place != dispatcher ? 1 : 0;
        dispatcher = u.place;
        if (++i < n) {
          post_next();
          return;
        }
        out->dispatches = n;
        out->place = u.place;
        out->seconds = now() - begin;
        left->count_down();
      });
    }
  };

  boost::asio::thread_pool pool_;
};

}  // namespace

void add_asio_rows(std::vector<technique>& rows) {
  rows.push_back(make_technique<asio_pool>("asio", "Boost.Asio", family::rival, "handlers that post the next one"));
}

}  // namespace bench
