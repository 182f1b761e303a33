// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Contents that show where they come from, and a way to keep every file thread from doing anything, so that what is asked for
// stays queued.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file_threads.hpp"
#include "support/sequencer.hpp"

namespace errand_test {

/// Bytes that show when one is missing, doubled or in the wrong place.
inline std::string pattern(std::size_t size) {
  std::string made(size, '\0');
  for (std::size_t i = 0; i < size; ++i) made[i] = static_cast<char>((i * 2654435761U) >> 13U);
  return made;
}

/// Keeps all file threads from doing anything, while it lives.
class file_threads_held {
 public:
  file_threads_held() {
    auto& threads = errand::detail::file_threads::of_process();
    for (unsigned i = 0; i < threads.most(); ++i) {
      ops_.push_back(std::make_unique<operation>());
      ops_.back()->let_go = &let_go_;
      threads.submit(*ops_.back());
    }
    for (auto const& op : ops_) op->begun.wait();
  }
  ~file_threads_held() {
    let_go_.raise();
    for (auto const& op : ops_) op->ended.wait();
  }
  file_threads_held(file_threads_held const&) = delete;
  file_threads_held& operator=(file_threads_held const&) = delete;

 private:
  struct operation : errand::detail::file_operation {
    operation() {
      run = [](errand::detail::file_operation* op) noexcept {
        auto& self = static_cast<operation&>(*op);
        self.begun.raise();
        self.let_go->wait();
        self.ended.raise();
      };
    }
    flag begun;
    flag ended;
    flag* let_go = nullptr;
  };
  flag let_go_;
  std::vector<std::unique_ptr<operation>> ops_;
};

}  // namespace errand_test
