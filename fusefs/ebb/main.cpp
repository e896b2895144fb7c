#include <iostream>

#include "fusefs/ebb/program.h"

int main(int argc, char** argv) {
  return ebb::fusefs::run(std::vector<std::string>(argv, argv + argc), std::cout, std::cerr);
}
