"""The questions of TPC-H, and more like TPC-DS, on a trading company's tables with a tenant on each."""
