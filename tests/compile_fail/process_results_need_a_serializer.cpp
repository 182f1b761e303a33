// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Deep in a container as well, and without a word from the serialiser's own pages.
// expect: serialize(Archive& archive) { archive(first_member, second_member); }
// errors: 1
// names: std::map<int, std::vector<person
#include <errand/process.hpp>
#include <errand/serialize.hpp>

#include <map>
#include <string>
#include <vector>

struct person {
  std::string name;
#ifndef MUST_NOT_COMPILE
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name);
  }
#endif
};

int main() {
  auto people = errand::async(errand::processes, [] { return std::map<int, std::vector<person>>{}; }).get();
  return static_cast<int>(people.size());
}
