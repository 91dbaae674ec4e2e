// What Metal has of vectors stands in metal_stdlib.
