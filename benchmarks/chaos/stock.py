"""to come"""
def main(arguments): return 0
