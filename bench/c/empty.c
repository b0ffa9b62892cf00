/* What every static program costs: it starts and ends. */
int main(void) { return 0; }
