// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The main thread ends by pthread_exit and the tasks go on. errand's threads never end by themselves, so somebody has to
// call exit; here a task does, and what was detached is finished.
#include <errand/task.hpp>

#include <pthread.h>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace {

using namespace std::chrono_literals;

struct last_words {
  ~last_words() { std::fputs("destroyed.", stderr); }
} words;

// The kernel keeps a main thread that has ended as a zombie.
bool main_thread_has_ended() {
  std::ifstream stat{"/proc/self/stat"};
  std::string text;
  std::getline(stat, text);
  auto const end_of_name = text.rfind(')');
  return end_of_name != std::string::npos && text[end_of_name + 2] == 'Z';
}

}  // namespace

int main() {
  errand::async([] {
    while (!main_thread_has_ended()) errand::this_task::sleep_for(1ms);
    errand::async([] {
      errand::this_task::sleep_for(10ms);
      std::fputs("finished.", stderr);
    }).detach();
    std::exit(7);
  }).detach();
  pthread_exit(nullptr);
}
